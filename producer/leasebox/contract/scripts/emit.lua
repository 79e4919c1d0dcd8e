#!lua
-- emit: append output of a claimed job, each chunk once, in order.
-- KEYS    1 the job's record
-- ARGV    2 job  3 lease  4 claims  5... chunks: seq (from 16 on, rising), type, data in turn
-- answer  ok cancel_requested ('1' or '') | lease_lost (kill at once) | gone
-- caller  thread of a worker

local j = load_job(ARGV[2])
if not j.state then return {'gone'} end
if not holds(j, ARGV[3]) or j.claims ~= ARGV[4] then return {'lease_lost'} end
append(j, 5)
commit()
return {'ok', j.cancel_requested or ''}
