#!lua flags=allow-oom
-- bind: give the line of a claimed job a sandbox that was just made (again, if the first one died before the start).
-- KEYS    1 the job's record
-- ARGV    2 job  3 lease  4 node  5 sandbox  6 why the one before is gone, if it is
-- answer  bound generation | session_expired reason (nothing is bound: settle `lost`, destroy it) | lease_lost | gone
-- caller  thread of a worker

local j = load_job(ARGV[2])
if not j.state then return {'gone'} end
if not holds(j, ARGV[3]) then return {'lease_lost'} end
local line = line_of(j)
if line.is_session and line.sandbox == ARGV[5] then return {'bound', num(line.generation)} end
if not line.is_session and j.sandbox == ARGV[5] then return {'bound', 1} end
local reason = j.must_exist == '1' and missing_state(line, ARGV[6])
if reason then return {'session_expired', reason} end
local generation = bind(line, j, ARGV[4], ARGV[5], ARGV[6])
commit()
return {'bound', generation}
