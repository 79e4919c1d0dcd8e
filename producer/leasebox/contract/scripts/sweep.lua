#!lua flags=allow-oom
-- sweep: end an idle session whose time has come; a job that arrived in the meantime wins.
-- KEYS    1 the session
-- ARGV    2 line  3 generation  4 evict after this many idle seconds, or ''  5 tombstone_s  6 tell the node to kill ('1')
-- answer  kill sandbox reason | kept
-- caller  owner node, 60 s; at once when it is full and may evict; an operator, who tells the node

local line = load_session(ARGV[2])
if line.state ~= 'idle' or num(line.generation) ~= num(ARGV[3]) or head_of(line) then return {'kept'} end
local idle_s, reason = now - num(line.used_at), nil
if num(line.age_from) + num(line.max_age_s) <= now then reason = 'max_age'
elseif idle_s >= num(line.idle_timeout_s) then reason = 'idle'
elseif ARGV[4] ~= '' and idle_s >= num(ARGV[4]) then reason = 'evicted' end
if not reason then return {'kept'} end
local node, generation = line.node, num(line.generation)
local kill = close_session(line, reason, num(ARGV[5]))
if ARGV[6] == '1' and kill ~= '' then
  write('XADD', K.node .. node .. K.control, 'MAXLEN', '~', 1000, '*', 'type', 'close', 'line', line.id,
    'generation', generation, 'sandbox', kill)
end
commit()
return {'kill', kill, reason}
