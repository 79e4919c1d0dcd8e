#!lua flags=allow-oom
-- pool_drop: take a sandbox out of its node's pool, to end it; a job that popped it first keeps it.
-- KEYS    1 the pool
-- ARGV    2 sandbox
-- answer  dropped | kept
-- caller  pool refill of a node

if not call('LPOS', KEYS[1], ARGV[2]) then return {'kept'} end
write('LREM', KEYS[1], 1, ARGV[2])
commit()
return {'dropped'}
