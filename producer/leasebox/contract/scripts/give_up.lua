#!lua flags=allow-oom
-- give_up: give a claim back: the job is queued again where it stands, or ends.
-- KEYS    1 the job's record
-- ARGV    2 job  3 lease  4 why  5 endings  6 backoff (JSON list of seconds)  7 max_starts  8 detail for the message
-- answer  requeued woken | ended outcome | lease_lost | gone
-- caller  thread of a worker (the start failed, drain)

local j = load_job(ARGV[2])
if not j.state then return {'gone'} end
if not holds(j, ARGV[3]) then return {'lease_lost'} end
local options = {endings = ARGV[5], backoff = ARGV[6], max_starts = tonumber(ARGV[7]), detail = ARGV[8]}
local what, woken = give_up(j, ARGV[4], options)
commit()
if what == 'requeued' then return {'requeued', woken} end
return {'ended', what}
