-- A heartbeat: the machine is alive; who else is, and who leads.
-- KEYS: members, beats, leader, token, epoch, log
-- ARGV: id, member, ms until a silent machine is gone, ms of a lease, '1' if it may lead, an epoch if there is none
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], now, ARGV[1])
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[3])) do
  redis.call('ZREM', KEYS[2], id)
  redis.call('HDEL', KEYS[1], id)
end
redis.call('EXPIRE', KEYS[1], 86400)
redis.call('EXPIRE', KEYS[2], 86400)
redis.call('SET', KEYS[5], ARGV[6], 'NX')
local leader = redis.call('GET', KEYS[3])
if leader and string.sub(leader, 1, #ARGV[1] + 1) == ARGV[1] .. ' ' then
  redis.call('PEXPIRE', KEYS[3], ARGV[4])
elseif not leader and ARGV[5] == '1' then
  -- Not below the time: what a server has forgotten does not come again.
  local token = string.format('%.0f', math.max((redis.call('GET', KEYS[4]) or 0) + 1, now))
  leader = ARGV[1] .. ' ' .. token
  redis.call('SET', KEYS[4], token)
  redis.call('SET', KEYS[3], leader, 'PX', ARGV[4])
end
local first = redis.call('XRANGE', KEYS[6], '-', '+', 'COUNT', 1)[1]
local last = redis.call('XREVRANGE', KEYS[6], '+', '-', 'COUNT', 1)[1]
return {
  redis.call('GET', KEYS[5]),
  leader or '',
  first and first[1] or '',
  last and last[1] or '',
  redis.call('HVALS', KEYS[1])
}
