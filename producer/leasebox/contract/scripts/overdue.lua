#!lua flags=allow-oom
-- overdue: take a claim whose deadline has passed from a node that seems alive; its sandbox is not trusted any more.
-- KEYS    1 the job's record
-- ARGV    2 job  3 lease  4 endings  5 backoff  6 max_starts
-- answer  requeued woken | ended outcome | kept | gone
-- caller  reaper

local j = load_job(ARGV[2])
if not j.state then return {'gone'} end
if not holds(j, ARGV[3]) then return {'kept'} end
local deadline = call('ZSCORE', K.node .. j.node .. K.claims, j.id)
if deadline and num(deadline) > now then return {'kept'} end
local what, woken = give_up(j, 'overdue', {endings = ARGV[4], backoff = ARGV[5], max_starts = tonumber(ARGV[6])})
commit()
if what == 'requeued' then return {'requeued', woken} end
return {'ended', what}
