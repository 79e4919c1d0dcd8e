#!lua flags=allow-oom
-- measured: what a node has measured, for the clients that wait for it and those that ask soon after.
-- KEYS    1 the session
-- ARGV    2 line  3 sandbox  4 json  5 ttl_s
-- answer  ok | kept
-- caller  owner node

local line = load_session(ARGV[2])
if line.sandbox ~= ARGV[3] then return {'kept'} end
local key = line.key .. K.metrics
write('XADD', key, 'MAXLEN', 1, '*', 'sandbox', ARGV[3], 'json', ARGV[4])
write('EXPIRE', key, num(ARGV[5]))
commit()
return {'ok'}
