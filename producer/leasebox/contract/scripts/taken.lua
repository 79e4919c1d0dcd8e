#!lua flags=allow-oom
-- taken: the guest has accepted the standard input of a job up to an entry; that much makes room for more.
-- KEYS    1 the job's record
-- ARGV    2 job  3 lease  4 id of the last entry that was accepted
-- answer  ok | lease_lost | gone
-- caller  thread of a worker

local j = load_job(ARGV[2])
if not j.state then return {'gone'} end
if not holds(j, ARGV[3]) then return {'lease_lost'} end
local ms, seq = string.match(ARGV[4], '^(%d+)-(%d+)$')
write('XTRIM', j.key .. K.stdin, 'MINID', string.format('%s-%d', ms, seq + 1))
commit()
return {'ok'}
