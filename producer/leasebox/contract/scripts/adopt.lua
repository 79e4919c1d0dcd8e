#!lua flags=allow-oom
-- adopt: register a new incarnation of a node, give up the claims of the old one, and sort the sandboxes found.
-- KEYS    1 the node's record
-- ARGV    2 node  3 incarnation  4 machine id  5 proof that the old process is gone ('1')  6 driver  7 slots
--         8 versions (JSON)  9 found: JSON list of [line, generation, sandbox]  10 reclaim_s  11 endings  12 backoff
--         13 max_starts
-- answer  adopted [places in `found` to keep, from 0; destroy the others] more ('1': ask again) | name_taken seconds
-- caller  node at its start, after killing what ran

local node, key, incarnation = ARGV[2], K.node .. ARGV[2], ARGV[3]
local record = load(key, {'incarnation', 'dead', 'seen_at', 'machine_id'})
local is_new = record.incarnation ~= incarnation
if is_new and record.incarnation and not given(record.dead) then
  local silent_s = now - num(record.seen_at)
  local is_gone = ARGV[5] == '1' and record.machine_id == ARGV[4]
  if silent_s < num(ARGV[10]) and not is_gone then
    return {'name_taken', string.format('%.3f', num(ARGV[10]) - silent_s)}
  end
end
if is_new or given(record.dead) then
  write('ZINCRBY', K.nodes, 1, node)              -- whoever counted silence of the old one is wrong from now on
  write('HDEL', key, 'dead', 'dead_at', 'draining', 'paused')
  write('HSET', key, 'incarnation', incarnation, 'machine_id', ARGV[4], 'driver', ARGV[6], 'slots', ARGV[7],
    'versions', ARGV[8], 'seen_at', NOW, 'started_at', NOW, 'busy', 0)
end
for _, pool in ipairs(call('SMEMBERS', key .. K.pools)) do
  if string.sub(pool, 1, #incarnation + 1) ~= incarnation .. K.colon then
    write('UNLINK', key .. K.pool .. pool)
    write('SREM', key .. K.pools, pool)
  end
end

local budget, found, is_kept, keep = BOUND, cjson.decode(ARGV[9]), {}, {}
for i, entry in ipairs(found) do
  local line = load_session(entry[1])
  if given(line.sandbox) and line.node == node and num(line.generation) == entry[2] and not is_kept[line.id] then
    if given(entry[3]) and entry[3] ~= line.sandbox then set(line, 'sandbox', entry[3]) end
    is_kept[line.id] = true
    keep[#keep + 1] = i - 1
  end
end
for _, id in ipairs(call('SMEMBERS', key .. K.sessions)) do
  if not is_kept[id] and budget > 0 then
    local line = load_session(id)
    lose(line, 'lost')
    rouse(line)                                   -- a claimed head is roused below
    budget = budget - 1
  end
end
local options = {endings = ARGV[11], backoff = ARGV[12], max_starts = tonumber(ARGV[13])}
for _, id in ipairs(call('ZRANGE', key .. K.claims, 0, -1)) do
  local j = load_job(id)
  if not j.state then
    write('ZREM', key .. K.claims, id)
  elseif string.sub(j.lease or '', 1, #incarnation + 1) ~= incarnation .. K.colon and budget > 0 then
    give_up(j, 'restarted', options)
    budget = budget - 1
  end
end
commit()
return {'adopted', keep, budget == 0 and '1' or ''}
