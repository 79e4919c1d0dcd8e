#!lua flags=allow-oom
-- erase: forget a finished job before its time: record, events, Result, and its place in lists.
-- KEYS    1 the job's record  2 the kept Result
-- ARGV    2 job  3 tenant
-- answer  ok | busy state | gone
-- caller  API

local j = load_job(ARGV[2])
if not j.state or j.tenant ~= ARGV[3] then return {'gone'} end
if j.state ~= 'finished' then return {'busy', j.state} end
local idem = given(j.idem) and K.idem .. j.tenant .. K.colon .. j.idem
local known = idem and call('GET', idem)
write('ZREM', K.tenant .. j.tenant .. K.recent, j.id)
write('ZREM', K.webhook, j.id)
if known and string.match(known, '^%S+') == j.id then write('DEL', idem) end
write('DEL', j.key, j.key .. K.events, j.key .. K.stdin, K.webhook_log .. j.id, KEYS[2])
commit()
return {'ok'}
