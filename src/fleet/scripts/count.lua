-- Adds to a counter, whose life begins with it.
-- KEYS: key
-- ARGV: what is added, ms of a new counter's life or 0
local is_new = redis.call('EXISTS', KEYS[1]) == 0
local count = redis.call('INCRBY', KEYS[1], ARGV[1])
if is_new and ARGV[2] ~= '0' then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return { count, redis.call('PTTL', KEYS[1]) }
