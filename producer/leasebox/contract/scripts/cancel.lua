#!lua flags=allow-oom
-- cancel: end a queued job at once; ask the holder of a claimed one to kill it.
-- KEYS    1 the job's record
-- ARGV    2 job  3 tenant  4 endings  5 reason
-- answer  cancelled woken | requested | already_finished outcome | gone
-- caller  client; the worker for Celery's revoke

local j = load_job(ARGV[2])
if not j.state or j.tenant ~= ARGV[3] then return {'gone'} end
if j.state == 'finished' then return {'already_finished', j.outcome} end
local answer
if j.state == 'queued' then
  finish(j, made(ARGV[4], j, 'cancelled', ARGV[5]))
  answer = {'cancelled', rouse(line_of(j))}
else
  request_cancel(j)
  answer = {'requested'}
end
commit()
return answer
