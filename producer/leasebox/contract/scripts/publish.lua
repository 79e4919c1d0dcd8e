#!lua flags=allow-oom
-- publish: say which profiles this installation serves and what bounds its tenants, unless another live node differs.
-- KEYS    1 the published profiles  2 the published quotas
-- ARGV    2 node  3 incarnation  4 reclaim_s  5 digest of the profiles  6 digest of the quotas
--         7 how many of the rest are of profiles  8... name and profile (JSON) in turn, then tenant and quota (JSON)
-- answer  published | differs node what
-- caller  node at its start: before it registers, which only asks, so that a refused one leaves its sandboxes alone;
--         and after, so that of two that start at once one sees the other

for _, node in ipairs(call('ZRANGE', K.nodes, 0, -1)) do
  local other = load(K.node .. node, {'incarnation', 'dead', 'seen_at', 'profiles'})
  local is_live = not given(other.dead) and now - num(other.seen_at) < num(ARGV[4])
  local serves = given(other.profiles) and cjson.decode(other.profiles) or {}
  if node ~= ARGV[2] and is_live and serves.incarnation == other.incarnation then
    if serves.digest ~= ARGV[5] then return {'differs', node, 'profiles'} end
    if serves.quotas ~= ARGV[6] then return {'differs', node, 'quotas'} end
  end
end
local own = load(K.node .. ARGV[2], {'incarnation'})
if own.incarnation ~= ARGV[3] then return {'published'} end
set(own, 'profiles', cjson.encode({incarnation = ARGV[3], digest = ARGV[5], quotas = ARGV[6]}))
local quotas_from = 8 + tonumber(ARGV[7])
write('UNLINK', KEYS[1])
write('HSET', KEYS[1], unpack(ARGV, 8, quotas_from - 1))
write('UNLINK', KEYS[2])
-- A tenant at a time: `unpack` of all at once is bounded by Lua's stack.
for i = quotas_from, #ARGV, 2 do write('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
commit()
return {'published'}
