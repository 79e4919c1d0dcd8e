-- webhook_test: a delivery of nothing, to try a receiver.
-- KEYS    1 the outbox  2 the record, itself the member
-- ARGV    2 tenant  3 url  4 ttl_s
-- answer  ok
-- caller  API

local hook = load(KEYS[2], {'tenant'})
if not hook.tenant then
  set(hook, 'tenant', ARGV[2], 'callback_url', ARGV[3], 'finished_at', NOW)
  write('EXPIRE', KEYS[2], ARGV[4])
  write('ZADD', KEYS[1], now, KEYS[2])
  commit()
end
return {'ok'}
