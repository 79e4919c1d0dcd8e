#!lua flags=no-writes
-- census: count what stands in Redis, for Prometheus. Changes nothing. A few commands for each queue, node and tenant
-- of the operator's file; never a look at each job, each session or each key.
-- KEYS    1 all nodes
-- ARGV    2 today, in days since 1970, as `Keys.usage` counts them  3 the queues of the shared classes, with commas
--         4 lines of a queue of which the longest wait is taken  5 tenants at most
-- answer  census now memory {class...} {node...} {tenant...} {ended, in turn} {name, number, in turn}
--         class   name queued messages lines wait_s
--         node    name seen_at dead draining slots busy paused claims overdue sessions {pool, sandboxes, in turn}
--         tenant  name queued running sessions parked cpu_s bytes
-- caller  exporter, once a scrape

local nodes = call('ZRANGE', KEYS[1], 0, -1)

-- Since when a line could have been taken. Its score will not do: it is when it was woken last.
local function since(id)
  local job = call('HMGET', K.job .. id, 'submitted_at', 'not_before')
  if job[1] then return math.max(num(job[1]), num(job[2])) end
  local head = call('LINDEX', K.session .. id .. K.pending, 0)
  job = head and call('HMGET', K.job .. head, 'submitted_at', 'not_before') or {}
  return math.max(num(job[1]), num(job[2]), num(call('HGET', K.session .. id, 'used_at')))
end

local function longest_wait(queue)
  local longest = 0
  for _, id in ipairs(call('ZRANGEBYSCORE', K.queue .. queue .. K.waiting, '-inf', now, 'LIMIT', 0, ARGV[4])) do
    local from = since(id)
    if from > 0 then longest = math.max(longest, now - from) end
  end
  return longest
end

local function exact(value) return string.format('%.6f', value) end

local classes = {}
for class in string.gmatch(ARGV[3], '[^,]+') do
  local shared = K.class .. class
  local messages, lines, wait_s = 0, 0, 0
  local queues = {shared}
  for _, node in ipairs(nodes) do queues[#queues + 1] = K.node_class .. node .. K.dot .. class end
  for _, queue in ipairs(queues) do
    local told, waiting = depth(queue)
    messages, lines = messages + told, lines + waiting
    wait_s = math.max(wait_s, longest_wait(queue))
  end
  classes[#classes + 1] = {class, queued(shared), messages, lines, exact(wait_s)}
end

local reports = {}
for _, node in ipairs(nodes) do
  local key, pools = K.node .. node, {}
  local told = shown(key, OF_NODE)
  for _, pool in ipairs(call('SMEMBERS', key .. K.pools)) do
    pools[#pools + 1], pools[#pools + 2] = pool, call('LLEN', key .. K.pool .. pool)
  end
  reports[#reports + 1] = {
    node, told.seen_at or '', told.dead or '', told.draining or '', told.slots or '', told.busy or '', told.paused or '',
    call('ZCARD', key .. K.claims), call('ZCOUNT', key .. K.claims, '-inf', now), call('SCARD', key .. K.sessions), pools,
  }
end

local named = {'default'}                         -- the tenant of clients that name none
for _, tenant in ipairs(call('HKEYS', K.tenants)) do
  if tenant ~= 'default' then named[#named + 1] = tenant end
end
table.sort(named)
local tenants = {}
for place, tenant in ipairs(named) do
  if place <= tonumber(ARGV[5]) then
    local key = K.tenant .. tenant
    local used = call('HMGET', key .. K.usage .. ARGV[2], 'cpu_s', 'bytes')
    tenants[#tenants + 1] = {
      tenant, call('SCARD', key .. K.queued), call('SCARD', key .. K.running), call('SCARD', key .. K.sessions),
      call('ZCARD', key .. K.parked), used[1] or '0', used[2] or '0',
    }
  end
end

local memory = redis.pcall('INFO', 'memory')         -- some operators refuse it; the rest can be told all the same
local parked = 0
for _, tenant in ipairs(call('SMEMBERS', K.parking)) do parked = parked + call('ZCARD', K.tenant .. tenant .. K.parked) end
local due = call('ZRANGE', K.webhook, 0, 0, 'WITHSCORES')
local counts = {
  'deferred', call('ZCARD', K.deferred), 'parked', parked, 'unbound', call('ZCARD', K.unbound),
  'webhooks', call('ZCARD', K.webhook), 'webhook_late_s', exact(due[2] and math.max(0, now - due[2]) or 0),
}
return {
  'census', exact(now), type(memory) == 'string' and memory or '', classes, reports, tenants, call('HGETALL', K.ended), counts,
}
