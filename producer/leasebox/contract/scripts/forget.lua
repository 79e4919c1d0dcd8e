#!lua flags=allow-oom
-- forget: a node stays away: its sessions lose their sandboxes and can go on elsewhere, its own keys go.
-- KEYS    1 the node's record
-- ARGV    2 node  3 incarnation  4 reason  5 the node itself asks ('1')  6 adopt_grace_s  7 drained_grace_s
-- answer  forgotten sessions more ('1' or '') | kept
-- caller  reaper; a leaving node whose sandboxes end with it

local node, key, is_own = ARGV[2], K.node .. ARGV[2], ARGV[5] == '1'
local record = load(key, {'incarnation', 'dead', 'dead_at', 'draining'})
if record.incarnation ~= ARGV[3] then return {'kept'} end
local grace_s = num(record.draining == '1' and ARGV[7] or ARGV[6])
if not is_own and (not given(record.dead) or num(record.dead_at) + grace_s > now) then return {'kept'} end
if call('ZCARD', key .. K.claims) > 0 then return {'kept'} end      -- reclaim comes first

local sessions = call('SMEMBERS', key .. K.sessions)
for i = 1, math.min(#sessions, BOUND) do
  local line = load_session(sessions[i])
  lose(line, ARGV[4])
  rouse(line)
end
if #sessions <= BOUND then
  for _, pool in ipairs(call('SMEMBERS', key .. K.pools)) do write('UNLINK', key .. K.pool .. pool) end
  for _, class in ipairs({'interactive', 'default', 'batch'}) do
    local queue = K.node_class .. node .. K.dot .. class
    write('UNLINK', queue)
    write('UNLINK', K.binding .. queue)
    write('UNLINK', K.binding_permanent .. queue)
  end
  for _, ending in ipairs({K.pools, K.control, K.sessions, K.expiry}) do write('UNLINK', key .. ending) end
  write('UNLINK', key)
  write('ZREM', K.nodes, node)
end
commit()
return {'forgotten', math.min(#sessions, BOUND), #sessions > BOUND and '1' or ''}
