#!lua flags=no-writes
-- why: everything that says why a job stands as it does, in one look; changes nothing.
-- KEYS    1 the job's record  2 the published profiles
-- ARGV    2 job  3 tenant  4 the class for which nodes keep slots
-- answer  gone | found json {now, job, newest, input_waits, session, head, place, rank, running, bound, profiles,
--         is_served, kept, nodes}; all but the first four only of a queued job
-- caller  client

local FIELDS = with(OF_JOB, {
  'starts', 'not_before', 'parked', 'tenant', 'expires_at', 'claimed_at', 'stdin_open', 'stdin_eof',
})

-- The newest event and its JSON, where it is one that says what a job waits for.
local function newest(id)
  local entry = call('XREVRANGE', K.job .. id .. K.events, '+', '-', 'COUNT', 1)[1]
  local kind = entry and entry[2][2]
  if kind == 'input' or kind == 'retried' then return {kind, entry[2][6]} end
end

-- Jobs of a node that may not have the slots which it keeps.
local function bulk_claims(node)
  local count = 0
  for _, id in ipairs(call('ZRANGE', K.node .. node .. K.claims, 0, -1)) do
    if call('HGET', K.job .. id, 'priority') ~= ARGV[4] then count = count + 1 end
  end
  return tostring(count)
end

local j = load_job(ARGV[2])
if not j.state or j.tenant ~= ARGV[3] then return {'gone'} end
local found = {now = NOW, job = shown(j.key, FIELDS), newest = newest(j.id)}
found.input_waits = j.stdin_open == '1' and call('XLEN', j.key .. K.stdin) or nil
if j.state ~= 'queued' then return {'found', cjson.encode(found)} end

local line = line_of(j)
local head = head_of(line) or j
if line.is_session then
  found.session = shown(line.key, {'state', 'closing', 'node', 'sandbox'})
  found.place = call('LPOS', line.pending, j.id) or 0
end
if head.id ~= j.id then
  found.head = {id = head.id, job = shown(head.key, FIELDS), newest = newest(head.id)}
end
found.rank = call('ZRANK', K.queue .. (head.queue or '') .. K.waiting, line.id) or 0
local running = limits_of(j.tenant).running
found.running, found.bound = call('SCARD', K.tenant .. j.tenant .. K.running), type(running) == 'number' and running or nil
found.profiles, found.is_served = call('HLEN', KEYS[2]), call('HEXISTS', KEYS[2], head.profile or '')
local is_bulk = head.priority ~= ARGV[4]
found.kept = is_bulk and call('HGET', K.settings, 'interactive_slots') or nil
found.nodes = {}
for i, name in ipairs(call('ZRANGE', K.nodes, 0, -1)) do
  local node = shown(K.node .. name, OF_NODE)
  node.name = name
  if is_bulk then node.bulk = bulk_claims(name) end
  found.nodes[i] = node
end
return {'found', cjson.encode(found)}
