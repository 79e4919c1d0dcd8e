#!lua flags=allow-oom
-- settle: end a claimed job with its Result; go on with the next of its line, or wake the line's queue.
-- KEYS    1 the job's record
-- ARGV    2 job  3 lease  4 outcome  5 meta  6 finished  7 exit_code or ''  8 cpu_s  9 next lease  10 may continue ('1')
--         11 sandbox is alive ('1')  12 why it is not  13 start_timeout_s  14 bytes of output
--         15... last chunks: seq, type, data in turn
-- answer  next again kill work... | free again kill woken | lease_lost | gone       (again: '1' if settled before)
-- caller  thread of a worker, after it has killed what remains of the job

local j = load_job(ARGV[2])
if not j.state then return {'gone'} end
if j.state == 'finished' and j.end_lease == ARGV[3] and given(j.settled) then
  local before = cjson.decode(j.settled)
  local following = given(before.next) and load_job(before.next)
  if following and following.state and holds(following, ARGV[9]) then
    return {'next', '1', before.kill, unpack(work(line_of(following), following))}
  end
  return {'free', '1', before.kill, before.woken}
end
if not holds(j, ARGV[3]) then return {'lease_lost'} end

local line, node = line_of(j), j.node
append(j, 15)
local kill = ''
if line.is_session then
  if ARGV[7] ~= '' and j.kind ~= 'file' then set(line, 'last_exit_code', ARGV[7]) end
  if ARGV[11] ~= '1' then detach(line, ARGV[12]) end
end
local ended = finish(j, {outcome = ARGV[4], meta = ARGV[5], finished = ARGV[6], exit_code = ARGV[7]})
if given(ended) then kill = ended end
count_usage(j, tonumber(ARGV[8]), tonumber(ARGV[14]))

local head = head_of(line)
local goes_on = ARGV[10] == '1' and line.is_session and given(line.sandbox) and is_runnable(line)
  and num(head.not_before) <= now
  and not (num(head.runs) == 0 and given(head.expires_at) and num(head.expires_at) <= now)
  and not is_full(limits_of(j.tenant).running, K.tenant .. j.tenant .. K.running, 1)
local woken = ''
if goes_on then claim(line, head, node, ARGV[9], tonumber(ARGV[13])) else woken = rouse(line) end
set(j, 'settled', cjson.encode({next = goes_on and head.id or '', kill = kill, woken = woken}))
local reply = goes_on and {'next', '', kill, unpack(work(line, head))} or {'free', '', kill, woken}
commit()
return reply
