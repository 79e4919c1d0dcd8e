#!lua flags=allow-oom
-- webhook_replay: deliver once more, whatever became of it so far; attempts are counted anew.
-- KEYS    1 the outbox  2 the record
-- ARGV    2 member  3 tenant
-- answer  ok | none (nobody asked for a delivery) | busy (it has not ended) | gone
-- caller  API

local hook = load(KEYS[2], {'tenant', 'callback', 'finished_at'})
if hook.tenant ~= ARGV[3] then return {'gone'} end
if hook.callback ~= '1' then return {'none'} end
if not given(hook.finished_at) then return {'busy'} end
set(hook, 'webhook_attempt', 0, 'webhook_lease', '')
write('ZADD', KEYS[1], now, ARGV[2])
commit()
return {'ok'}
