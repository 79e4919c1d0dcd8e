#!lua flags=allow-oom
-- start: write `running`; only after this answer may the exec frame leave.
-- KEYS    1 the job's record
-- ARGV    2 job  3 lease  4 deadline_s from now, grace included  5 frame id  6 short name of the sandbox
-- answer  go attempt | cancelled | lease_lost | gone
-- caller  thread of a worker

local j = load_job(ARGV[2])
if not j.state then return {'gone'} end
if not holds(j, ARGV[3]) then return {'lease_lost'} end
if j.state == 'running' then return j.frame == ARGV[5] and {'go', num(j.runs)} or {'lease_lost'} end
if given(j.cancel_requested) then return {'cancelled'} end
local line, runs = line_of(j), num(j.runs) + 1
set(j, 'state', 'running', 'runs', runs, 'started_at', NOW, 'frame', ARGV[5])
if line.is_session then
  set(line, 'executions', num(line.executions) + (j.kind ~= 'file' and 1 or 0), 'ran', '1')
  if given(line.lost_reason) then set(line, 'lost_reason', '') end
end
write('ZADD', K.node .. j.node .. K.claims, now + ARGV[4], j.id)
if given(j.expires_at) then write('ZREM', K.expiring, j.id) end
event(j, 'started', string.format('{"node":%s,"sandbox":%s,"attempt":%d}', cjson.encode(j.node), cjson.encode(ARGV[6]), runs))
commit()
return {'go', runs}
