-- Outbox: put after the prelude, before the scripts of the deliverer. A member of the outbox is a job's id, or the key
-- of the record of a batch or of a test.

local HOOK = {'tenant', 'callback_url', 'webhook_attempt', 'webhook_lease', 'webhook_told'}
local KEPT, RECORD_S = 100, 86400

local function load_hook(member)
  local hook = load(K.job .. member, HOOK)
  if not hook.tenant then hook = load(member, HOOK) end
  hook.member = member
  return hook
end

-- Keep what became of an attempt, as long as the record is kept.
local function note(hook, attempt, status, fault, next_at)
  local key, left_s = K.webhook_log .. hook.member, call('TTL', hook.key)
  write('XADD', key, 'MAXLEN', KEPT, '*', 'at', NOW, 'url', hook.callback_url or '', 'attempt', attempt,
    'status', status, 'error', fault, 'next_at', next_at)
  write('EXPIRE', key, left_s > 0 and left_s or RECORD_S)
end
