-- The machine stops: its leadership is free at once.
-- KEYS: members, beats, leader
-- ARGV: id, channel, message
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
local leader = redis.call('GET', KEYS[3])
if leader and string.sub(leader, 1, #ARGV[1] + 1) == ARGV[1] .. ' ' then
  redis.call('DEL', KEYS[3])
end
return redis.call('PUBLISH', ARGV[2], ARGV[3])
