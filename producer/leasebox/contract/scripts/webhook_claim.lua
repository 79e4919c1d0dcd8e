#!lua flags=allow-oom
-- webhook_claim: take deliveries that are due. One whose taker does not tell its end within the lease is due again, and
-- the attempt stands in the log as one of unknown end: it may have arrived.
-- KEYS    1 the outbox
-- ARGV    2 how many, 64 at most  3 lease_s
-- answer  taken {{member, attempt, lease}...}
-- caller  deliverer

local lease, taken = string.format('%.6f', now + ARGV[3]), {}
for _, member in ipairs(call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, math.min(num(ARGV[2]), BOUND))) do
  local hook = load_hook(member)
  if hook.tenant then
    local attempt = num(hook.webhook_attempt) + 1
    if given(hook.webhook_lease) then note(hook, attempt - 1, '', 'its worker ended before it told', NOW) end
    set(hook, 'webhook_attempt', attempt, 'webhook_lease', lease)
    write('ZADD', KEYS[1], lease, member)
    taken[#taken + 1] = {member, attempt, lease}
  else
    write('ZREM', KEYS[1], member)                -- its record has had its time
  end
end
commit()
return {'taken', taken}
