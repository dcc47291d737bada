-- Stores a value under a new version.
-- KEYS: key
-- ARGV: value, ms of its life or 0, the version that is replaced: '' any, '0' none
local version = redis.call('HGET', KEYS[1], 'v') or '0'
if ARGV[3] ~= '' and ARGV[3] ~= version then
  return { 0, version }
end
-- Not below the time: a version of a value that was removed does not come again.
local time = redis.call('TIME')
version = string.format('%.0f', math.max(version + 1, time[1] * 1000000 + time[2]))
redis.call('HSET', KEYS[1], 'v', version, 'b', ARGV[1])
if ARGV[2] == '0' then
  redis.call('PERSIST', KEYS[1])
else
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return { 1, version }
