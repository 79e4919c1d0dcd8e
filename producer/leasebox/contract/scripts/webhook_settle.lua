#!lua flags=allow-oom
-- webhook_settle: what became of an attempt; the delivery ends, or is due again later.
-- KEYS    1 the outbox
-- ARGV    2 member  3 lease  4 attempt  5 wait_s until the next, '' = it ends  6 status or ''  7 error or ''
-- answer  ok | taken (others have it by now: only the log was written) | gone
-- caller  deliverer

local hook = load_hook(ARGV[2])
if not hook.tenant then return {'gone'} end
if hook.webhook_told == ARGV[3] then return {'ok'} end
if hook.webhook_lease ~= ARGV[3] then
  set(hook, 'webhook_told', ARGV[3])
  note(hook, ARGV[4], ARGV[6], ARGV[7], '')
  commit()
  return {'taken'}
end
local next_at = ARGV[5] ~= '' and string.format('%.6f', now + ARGV[5]) or ''
set(hook, 'webhook_lease', '', 'webhook_told', ARGV[3])
note(hook, ARGV[4], ARGV[6], ARGV[7], next_at)
if next_at ~= '' then write('ZADD', KEYS[1], next_at, hook.member) else write('ZREM', KEYS[1], hook.member) end
commit()
return {'ok'}
