#!lua flags=allow-oom
-- expire: end what is due (jobs not started in time, sessions that never had a sandbox), wake lines after back-off, and
-- parked ones whose tenant has room: its bound was raised, or the line that its last end woke has ended without a claim.
-- KEYS    none
-- ARGV    2 endings
-- answer  expired jobs sessions woken more ('1' or '')
-- caller  reaper, 1 s

local due = call('ZRANGEBYSCORE', K.expiring, '-inf', now, 'LIMIT', 0, BOUND)
local deferred = call('ZRANGEBYSCORE', K.deferred, '-inf', now, 'LIMIT', 0, BOUND)
local unbound = call('ZRANGEBYSCORE', K.unbound, '-inf', now, 'LIMIT', 0, BOUND)
local ended, closed, woken, stale = 0, 0, 0, {}

for _, id in ipairs(due) do
  local j = load_job(id)
  if j.state == 'queued' and num(j.runs) == 0 then
    finish(j, made(ARGV[2], j, 'expired', 'expired'))
    stale[#stale + 1] = line_of(j)
    ended = ended + 1
  else
    write('ZREM', K.expiring, id)                 -- claimed meanwhile; give_up puts it back
  end
end
for _, id in ipairs(deferred) do
  write('ZREM', K.deferred, id)
  local is_job = call('EXISTS', K.job .. id) == 1
  local line = is_job and line_of(load_job(id)) or load_session(id)
  local head = head_of(line)
  if is_runnable(line) and num(head.not_before) > 0 and not given(head.parked) then
    local score = call('ZSCORE', K.queue .. head.queue .. K.waiting, id)
    if score and num(score) == num(head.not_before) then stale[#stale + 1] = line end
  end
end
for _, id in ipairs(unbound) do
  local line = load_session(id)
  if line.state == 'new' and not head_of(line) and not given(line.sandbox) then
    close_session(line, num(line.age_from) + num(line.max_age_s) <= now and 'max_age' or 'idle', TOMBSTONE_S)
    closed = closed + 1
  else
    write('ZREM', K.unbound, id)
  end
end
for _, tenant in ipairs(call('SRANDMEMBER', K.parking, BOUND)) do
  local parked, bound = call('ZCARD', K.tenant .. tenant .. K.parked), limits_of(tenant).running
  local room = type(bound) == 'number' and bound - call('SCARD', K.tenant .. tenant .. K.running) or BOUND
  if parked == 0 then write('SREM', K.parking, tenant) end
  for _ = 1, math.min(parked, room, BOUND - woken) do
    unpark(tenant)
    woken = woken + 1
  end
end
local roused = {}
for _, line in ipairs(stale) do
  if not roused[line.id] and rouse(line) ~= '' then woken = woken + 1 end
  roused[line.id] = true
end
commit()
local more = #due == BOUND or #deferred == BOUND or #unbound == BOUND
return {'expired', ended, closed, woken, more and '1' or ''}
