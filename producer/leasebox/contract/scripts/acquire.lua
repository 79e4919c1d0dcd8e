#!lua flags=allow-oom
-- acquire: claim the head of the line that a wake-up names, with the sandbox it may use, if there is one.
-- KEYS    1 the job's record
-- ARGV    2 job of the wake-up  3 node  4 incarnation  5 lease  6 draining ('1')  7 room for one more sandbox ('1')
--         8 start_timeout_s  9 endings
-- answer  claimed work... (the last field is the sandbox, or '') | elsewhere queue | later reason | busy | done | gone
--         | fenced | more
-- caller  thread of a worker

local node, incarnation, lease = ARGV[3], ARGV[4], ARGV[5]
local registered = call('HMGET', K.node .. node, 'incarnation', 'dead')
if registered[1] ~= incarnation or given(registered[2]) then return {'fenced'} end
local named = load_job(ARGV[2])
if not named.state then return {'gone'} end
local line = line_of(named)
local head = head_of(line)
if not head then return {'done'} end
if holds(head, lease) then return {'claimed', unpack(work(line, head))} end
if head.state ~= 'queued' or given(line.closing) then return {'busy'} end

local function answer(...)
  commit()
  return {...}
end

if line.is_session and given(line.sandbox) and line.node ~= node then return answer('elsewhere', rouse(line)) end
if ARGV[6] == '1' then
  rouse(line)
  return answer('later', 'draining')
end

local ended = 0
while head and num(head.runs) == 0 and given(head.expires_at) and num(head.expires_at) <= now do
  if ended == BOUND then
    rouse(line)
    return answer('more')
  end
  finish(head, made(ARGV[9], head, 'expired', 'expired'))
  ended, head = ended + 1, head_of(line)
end
if not head then return answer('done') end

if num(head.not_before) > now then
  rouse(line)
  return answer('later', 'not_before')
end
if runs_enough(head.tenant) then
  park(line, head)
  return answer('later', 'tenant')
end

local pooled
if not (line.is_session and given(line.sandbox)) and not (head.must_exist == '1' and missing_state(line, 'lost')) then
  local pool = K.node .. node .. K.pool .. incarnation .. K.colon .. head.profile
  -- A warm sandbox has its profile's limits; a job with others would only throw it away.
  pooled = head.own_limits ~= '1' and call('LINDEX', pool, 0)
  if pooled then
    checked[pool] = 'list'
    write('LPOP', pool)
  elseif ARGV[7] ~= '1' then
    rouse(line)
    return answer('later', 'full')
  end
end
claim(line, head, node, lease, tonumber(ARGV[8]))
if pooled then bind(line, head, node, pooled, 'lost') end
local reply = work(line, head)
commit()
return {'claimed', unpack(reply)}
