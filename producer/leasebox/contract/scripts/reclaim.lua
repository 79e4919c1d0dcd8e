#!lua flags=allow-oom
-- reclaim: declare a silent incarnation dead and give its claims up. Its sessions stay until `forget`.
-- KEYS    1 the node's record
-- ARGV    2 node  3 incarnation  4 the heartbeat counter that has not moved  5 endings  6 backoff  7 max_starts
-- answer  reclaimed jobs more ('1' or '') | alive
-- caller  reaper

local node, key = ARGV[2], K.node .. ARGV[2]
local record = load(key, {'incarnation', 'dead'})
local counter = call('ZSCORE', K.nodes, node)
if record.incarnation ~= ARGV[3] or num(counter) ~= num(ARGV[4]) then return {'alive'} end
if not given(record.dead) then set(record, 'dead', '1', 'dead_at', NOW) end
local options = {endings = ARGV[5], backoff = ARGV[6], max_starts = tonumber(ARGV[7])}
local claims = call('ZRANGE', key .. K.claims, 0, BOUND - 1)
for _, id in ipairs(claims) do
  local j = load_job(id)
  if j.state == 'starting' or j.state == 'running' then give_up(j, 'node_lost', options)
  else write('ZREM', key .. K.claims, id) end
end
commit()
return {'reclaimed', #claims, #claims == BOUND and '1' or ''}
