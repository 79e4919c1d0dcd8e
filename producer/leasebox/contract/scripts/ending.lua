-- Ending: put after the prelude, before the scripts that may end a job: `finish` is the one way to end.
-- An ending is {outcome, meta, finished, exit_code, cpu_s}; `made` writes those that no worker reports.

local TOMBSTONE_S, BLOB_S, RECORD_S = 86400, 3600, 86400

local function seconds(text, default) return math.max(1, math.ceil(tonumber(text) or default)) end

-- Source: H. Hinnant, "chrono-compatible low-level date algorithms", civil_from_days. Redis has no os.date.
local function iso_date()
  local days, rest_s = math.floor(clock[1] / 86400), clock[1] % 86400
  local z = days + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local month = mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  return string.format('%04d-%02d-%02dT%02d:%02d:%02d.%06d+00:00', year, month, doy - math.floor((153 * mp + 2) / 5) + 1,
    math.floor(rest_s / 3600), math.floor(rest_s % 3600 / 60), rest_s % 60, clock[2])
end

local templates

-- An ending without a Result from `endings`, the templates of wire.py.
local function made(endings, j, outcome, reason, detail)
  templates = templates or cjson.decode(endings)
  local message = templates.messages[reason] or reason
  if given(detail) then message = message .. ' ' .. detail end
  local text = function(value) return given(value) and cjson.encode(value) or 'null' end
  local until_s = j.claimed_at and num(j.claimed_at) or now
  local values = {
    job = text(j.id), outcome = text(outcome), date = text(iso_date()), message = text(message),
    session = text(j.session), node = text(j.node), metadata = call('HGET', j.key, 'metadata') or '{}',
    attempt = tostring(j.state == 'running' and num(j.runs) or num(j.runs) + 1),
    queued_s = string.format('%.6f', math.max(0, until_s - num(j.submitted_at))),
  }
  local function fill(template) return (string.gsub(template, '@([%w_]+)@', values)) end
  values.error = templates.errors[outcome] and fill(templates.errors[outcome]) or 'null'
  values.result = fill(templates.result)
  return {outcome = outcome, meta = fill(templates.metas[outcome]), finished = fill(templates.finished)}
end

local function end_batch(id, batch)
  set(batch, 'finished_at', NOW)
  local by = {}
  for outcome in pairs(batch.counts) do by[#by + 1] = cjson.encode(outcome) .. ':' .. batch.counts[outcome] end
  write('XADD', batch.key .. K.events, '*', 'type', 'finished', 'at', NOW, 'json', string.format(
    '{"total":%d,"done":%d,"by_outcome":{%s}}', num(batch.total), num(batch.done), table.concat(by, ',')))
  write('PUBLISH', K.bell, id)
  if batch.callback == '1' then write('ZADD', K.webhook, now, K.batch .. id) end
  for _, key in ipairs({batch.key, batch.key .. K.jobs, batch.key .. K.events}) do
    write('EXPIRE', key, seconds(batch.result_ttl_s, RECORD_S))
  end
end

local batches = {}

local function load_batch(id)
  local batch = batches[id]
  if batch then return batch end
  batch = load(K.batch .. id, {
    'tenant', 'total', 'done', 'sealed', 'cancelled', 'callback', 'result_ttl_s', 'created_at', 'by_outcome',
    'finished_at',
  })
  batch.counts = batch.by_outcome and cjson.decode(batch.by_outcome) or {}
  batches[id] = batch
  return batch
end

local function count_in_batch(j, outcome)
  local batch = load_batch(j.batch)
  if not batch.tenant then return end
  local place = call('HMGET', j.key, 'batch_index', 'batch_key')
  batch.counts[outcome] = num(batch.counts[outcome]) + 1
  set(batch, 'done', num(batch.done) + 1, 'by_outcome', cjson.encode(batch.counts))
  write('XADD', batch.key .. K.events, '*', 'type', 'done', 'at', NOW, 'json', string.format(
    '{"job":%s,"index":%d,"key":%s,"outcome":%s}', cjson.encode(j.id), num(place[1]),
    given(place[2]) and cjson.encode(place[2]) or 'null', cjson.encode(outcome)))
  write('PUBLISH', K.bell, j.batch)
  if batch.sealed == '1' and num(batch.done) >= num(batch.total) then end_batch(j.batch, batch) end
end

local leaving = {}

-- What belongs to the job alone may go after its time.
local function expire_keys(j)
  local record_s, events_s = seconds(j.result_ttl_s, RECORD_S), seconds(j.events_ttl_s, 600)
  write('EXPIRE', j.key, record_s)
  write('EXPIRE', j.key .. K.events, events_s)
  if j.stdin_open == '1' then write('EXPIRE', j.key .. K.stdin, events_s) end
  if given(j.idem) then write('EXPIRE', K.idem .. j.tenant .. K.colon .. j.idem, record_s) end
  if not given(j.blobs) then return end
  for _, blob in ipairs(cjson.decode(j.blobs)) do
    local users = K.blob .. blob .. K.jobs
    write('SREM', users, j.id)
    leaving[users] = num(leaving[users]) + call('SISMEMBER', users, j.id)
    if call('SCARD', users) <= leaving[users] then
      write('EXPIRE', K.blob .. blob, BLOB_S)
    end
  end
end

local unparked = {}

-- A slot of the tenant is free: its line whose head was submitted first may try again.
local function unpark(tenant)
  local key, place = K.tenant .. tenant .. K.parked, num(unparked[tenant])
  local oldest = call('ZRANGE', key, place, place)[1]
  checked[key] = 'zset'
  if not oldest then return end
  unparked[tenant] = place + 1
  local is_job = call('EXISTS', K.job .. oldest) == 1
  rouse(is_job and line_of(load_job(oldest)) or load_session(oldest))
end

-- The head of a session has ended: close it, end its old sandbox, or let it rest. Answers what to kill.
local function end_turn(line)
  if given(line.closing) then return close_session(line, line.close_reason or 'closed', TOMBSTONE_S) end
  local kill = ''
  if head_of(line) and given(line.sandbox) and num(line.age_from) + num(line.max_age_s) <= now then
    kill = detach(line, 'max_age')
    set(line, 'age_from', NOW)
  end
  rest(line)
  return kill
end

-- End a job. The caller rouses the line, or claims its next head. Answers what to kill.
local function finish(j, ending)
  local line = line_of(j)
  local was_head, was_claimed, tenant = head_of(line) == j, j.state ~= 'queued', K.tenant .. j.tenant
  if was_head and not was_claimed then leave(line, j) end
  write('SET', K.meta .. j.id, ending.meta, 'EX', seconds(j.result_ttl_s, RECORD_S))
  write('PUBLISH', K.meta .. j.id, ending.meta)
  event(j, 'finished', ending.finished)
  set(j, 'state', 'finished', 'outcome', ending.outcome, 'finished_at', NOW, 'lease', '', 'end_lease', j.lease or '',
    'exit_code', ending.exit_code or '')
  write('HDEL', j.key, 'wake_head', 'wake_tail')
  if was_claimed then write('ZREM', K.node .. j.node .. K.claims, j.id) end
  if given(j.expires_at) then write('ZREM', K.expiring, j.id) end
  write('SREM', tenant .. (was_claimed and K.running or K.queued), j.id)
  if not was_claimed then write('SREM', K.queue .. class_of(j) .. K.queued, j.id) end
  if given(j.batch) then count_in_batch(j, ending.outcome) end
  if j.callback == '1' then write('ZADD', K.webhook, now, j.id) end
  write('HINCRBY', K.ended, j.priority .. '/' .. ending.outcome, 1)
  expire_keys(j)
  local kill = ''
  if line.is_session then
    write('LREM', line.pending, 1, j.id)
    line.ended[j.id] = true
    if was_head then kill = end_turn(line) end
  end
  if was_claimed then unpark(j.tenant) end
  return kill
end

-- A claimed job ends by its holder, after the kill: leave the flag that counts, and a note that is faster.
local function request_cancel(j)
  if given(j.cancel_requested) then return end
  set(j, 'cancel_requested', '1')
  write('XADD', K.node .. j.node .. K.control, 'MAXLEN', '~', 1000, '*', 'type', 'cancel', 'job', j.id, 'lease', j.lease)
end

local LOSSES = {node_lost = true, restarted = true, disowned = true, sandbox_died = true, overdue = true, drain = true}

-- Take a claim from a holder that is gone: end the job, or queue it again where it stands. `options`: endings, backoff
-- (JSON list of seconds, by number of failures), max_starts, detail. Answers 'requeued' or the outcome, then the queue.
local function give_up(j, why, options)
  local line, is_running = line_of(j), j.state == 'running'
  local starts = num(j.starts) + ((not is_running and why ~= 'drain') and 1 or 0)
  local outcome, reason
  if given(j.cancel_requested) then outcome, reason = 'cancelled', 'cancelled'
  elseif is_running and num(j.runs) > num(j.retries) then outcome, reason = LOSSES[why] and 'lost' or 'infra', why
  elseif not is_running and starts >= options.max_starts then outcome, reason = 'infra', why end
  if line.is_session and (why == 'start_failed' or why == 'sandbox_died' or why == 'overdue') then
    detach(line, why == 'start_failed' and 'failed' or 'lost')
  end
  if outcome then
    finish(j, made(options.endings, j, outcome, reason, options.detail))
    return outcome, rouse(line)
  end
  local backoff = cjson.decode(options.backoff)
  local failures = starts + num(j.runs)
  local wait_s = why ~= 'drain' and backoff[math.min(math.max(failures, 1), #backoff)] or 0
  if is_running then
    event(j, 'retried', string.format('{"attempt":%d,"reason":%s}', num(j.runs) + 1, cjson.encode(why)))
  else write('PUBLISH', K.bell, j.id) end
  write('ZREM', K.node .. j.node .. K.claims, j.id)
  write('SREM', K.tenant .. j.tenant .. K.running, j.id)
  write('SADD', K.tenant .. j.tenant .. K.queued, j.id)
  write('SADD', K.queue .. class_of(j) .. K.queued, j.id)
  if num(j.runs) == 0 and given(j.expires_at) then write('ZADD', K.expiring, j.expires_at, j.id) end
  set(j, 'state', 'queued', 'lease', '', 'node', '', 'sandbox', '', 'starts', starts,
    'not_before', wait_s > 0 and now + wait_s or 0)
  if line.is_session then rest(line) end
  unpark(j.tenant)
  return 'requeued', rouse(line)
end
