#!lua flags=allow-oom
-- pool_push: put a warm, never used sandbox into its node's pool.
-- KEYS    1 the pool
-- ARGV    2 node  3 incarnation  4 profile  5 sandbox
-- answer  ok size | fenced (destroy it)
-- caller  pool refill of a node

local registered = call('HMGET', K.node .. ARGV[2], 'incarnation', 'dead')
if registered[1] ~= ARGV[3] or given(registered[2]) then return {'fenced'} end
local name = ARGV[3] .. K.colon .. ARGV[4]
local pool = K.node .. ARGV[2] .. K.pool .. name
local size = call('LLEN', pool)
if call('LPOS', pool, ARGV[5]) then return {'ok', size} end
write('RPUSH', pool, ARGV[5])
write('SADD', K.node .. ARGV[2] .. K.pools, name)
commit()
return {'ok', size + 1}
