#!lua flags=allow-oom
-- heartbeat: say that a node lives, and compare its claims with the leases that its process really holds.
-- KEYS    1 the node's record
-- ARGV    2 node  3 incarnation  4 held: JSON list of [job, lease, deadline_s from now or null]  5 slots  6 busy
--         7 draining ('1')  8 disown_after_s  9 endings  10 backoff  11 max_starts
--         12 paused: why the node takes no work from the shared queues, with commas
-- answer  alive [jobs whose lease is not ours] [jobs to cancel] more ('1' or '') | name_taken | fenced
-- caller  node, 3 s

local node, key = ARGV[2], K.node .. ARGV[2]
local record = load(key, {'incarnation', 'dead'})
if record.incarnation and record.incarnation ~= ARGV[3] then return {'name_taken'} end
if not record.incarnation or given(record.dead) then return {'fenced'} end

local held, not_ours, cancelled = {}, {}, {}
for _, entry in ipairs(cjson.decode(ARGV[4])) do
  local j = load_job(entry[1])
  if holds(j, entry[2]) then
    held[j.id] = true
    if given(j.cancel_requested) then cancelled[#cancelled + 1] = j.id end
    if type(entry[3]) == 'number' then write('ZADD', key .. K.claims, 'XX', now + entry[3], j.id) end
  else
    not_ours[#not_ours + 1] = entry[1]
  end
end

local options = {endings = ARGV[9], backoff = ARGV[10], max_starts = tonumber(ARGV[11])}
local disowned = 0
for _, id in ipairs(call('ZRANGE', key .. K.claims, 0, -1)) do
  local j = load_job(id)
  if not j.state then
    write('ZREM', key .. K.claims, id)
  elseif not held[id] and disowned < BOUND and num(j.claimed_at) <= now - ARGV[8] then
    give_up(j, 'disowned', options)
    disowned = disowned + 1
  end
end
write('ZINCRBY', K.nodes, 1, node)
write('HSET', key, 'seen_at', NOW, 'slots', ARGV[5], 'busy', ARGV[6], 'draining', ARGV[7],
  'paused', ARGV[12])
commit()
return {'alive', not_ours, cancelled, disowned == BOUND and '1' or ''}
