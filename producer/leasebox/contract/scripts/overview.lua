#!lua flags=no-writes
-- overview: queues, nodes, and a tenant's newest jobs and live sessions, in one look; changes nothing.
-- KEYS    1 the tenant's newest jobs  2 its live sessions
-- ARGV    2 tenant  3 jobs at most  4 sessions at most  5... classes of jobs
-- answer  found json {now, queues, max_jobs, nodes, jobs, sessions, live}; `live` counts also sessions beyond the bound
-- caller  client, each second while somebody looks

local FIELDS = with(OF_JOB, {'submitted_at', 'finished_at', 'language', 'kind'})
local OF_SESSION = {
  'state', 'profile', 'node', 'generation', 'created_at', 'used_at', 'age_from', 'idle_timeout_s', 'max_age_s',
  'executions', 'last_exit_code', 'close_reason', 'closed_at', 'lost_reason',
}

local found = {now = NOW, queues = {}, nodes = {}, jobs = {}, sessions = {}, live = call('SCARD', KEYS[2])}
found.max_jobs = call('HGET', K.settings, 'queue_max_jobs') or nil
for i = 5, #ARGV do
  local name = K.class .. ARGV[i]
  local messages, waiting = depth(name)
  found.queues[#found.queues + 1] = {name = name, queued = queued(name), messages = messages, waiting = waiting}
end
local nodes = call('ZRANGE', K.nodes, 0, -1, 'WITHSCORES')
for i = 1, #nodes, 2 do
  local node = shown(K.node .. nodes[i], OF_NODE)
  node.name, node.heartbeat = nodes[i], nodes[i + 1]
  found.nodes[#found.nodes + 1] = node
end
for _, id in ipairs(call('ZREVRANGE', KEYS[1], 0, num(ARGV[3]) - 1)) do
  local job = shown(K.job .. id, FIELDS)
  job.id = id
  if job.state then found.jobs[#found.jobs + 1] = job end
end
-- Not all of ten thousand, each second: a part that is the same the next time.
for _, line in ipairs(call('SSCAN', KEYS[2], 0, 'COUNT', ARGV[4])[2]) do
  local session = shown(K.session .. line, OF_SESSION)
  session.line, session.pending = line, call('LLEN', K.session .. line .. K.pending)
  if session.state then found.sessions[#found.sessions + 1] = session end
end
return {'found', cjson.encode(found)}
