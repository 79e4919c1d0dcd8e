#!lua flags=allow-oom
-- detach: the sandbox of an idle session does not exist any more: its next job starts afresh, on any node, and says why.
-- KEYS    1 the session
-- ARGV    2 line  3 generation  4 sandbox  5 reason
-- answer  detached woken | kept
-- caller  owner node, when it does not hold the sandbox that the record names

local line = load_session(ARGV[2])
if line.state ~= 'idle' or num(line.generation) ~= num(ARGV[3]) or line.sandbox ~= ARGV[4] then return {'kept'} end
lose(line, ARGV[5])
local woken = rouse(line)
commit()
return {'detached', woken}
