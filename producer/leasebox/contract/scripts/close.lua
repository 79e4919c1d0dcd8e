#!lua flags=allow-oom
-- close: end a session: its queued jobs are cancelled; a claimed one is asked to end, and its end completes the close.
-- KEYS    1 the session
-- ARGV    2 line  3 reason  4 endings  5 tombstone_s
-- answer  closed reason more | closing more       (more '1': jobs are left, ask again)
-- caller  client

local line = load_session(ARGV[2])
if not line.state then return {'closed', 'lost', ''} end
if line.state == 'closed' then return {'closed', line.close_reason or '', ''} end
local pending = call('LRANGE', line.pending, 0, BOUND)
local head, node = head_of(line), line.node
local is_busy = head and head.state ~= 'queued'
-- From the tail, so that no job in between becomes the head on the way.
for i = math.min(#pending, BOUND), 1, -1 do
  local j = load_job(pending[i])
  if j.state == 'queued' then finish(j, made(ARGV[4], j, 'cancelled', 'session_closed')) end
end
if is_busy then
  request_cancel(head)
  if not given(line.closing) then set(line, 'closing', '1', 'close_reason', ARGV[3], 'state', 'closing') end
end
local more = #pending > BOUND and '1' or ''
local sandbox = line.sandbox
if not is_busy and more == '' then close_session(line, ARGV[3], num(ARGV[5])) else rouse(line) end
if given(node) and given(sandbox) and not is_busy then
  write('XADD', K.node .. node .. K.control, 'MAXLEN', '~', 1000, '*', 'type', 'close', 'line', line.id,
    'generation', num(line.generation), 'sandbox', sandbox)
end
commit()
if is_busy then return {'closing', more} end
return {'closed', ARGV[3], more}
