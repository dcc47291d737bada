-- Invalidations, in the log for machines that miss them now, and to all that listen.
-- KEYS: log
-- ARGV: entries of the log, channel, the invalidations
for index = 3, #ARGV do
  local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'b', ARGV[index])
  redis.call('PUBLISH', ARGV[2], id .. ' ' .. ARGV[index])
end
return redis.status_reply('OK')
