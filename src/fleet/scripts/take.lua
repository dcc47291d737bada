-- Takes one from a counter that is above 0.
-- KEYS: key
if tonumber(redis.call('GET', KEYS[1]) or '0') > 0 then
  return redis.call('DECR', KEYS[1])
end
return 0
