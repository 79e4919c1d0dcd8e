#!lua flags=allow-oom
-- publish: say which profiles this installation serves, unless another live node serves others.
-- KEYS    1 the published profiles
-- ARGV    2 node  3 incarnation  4 reclaim_s  5 digest of the set  6... name and profile (JSON) in turn
-- answer  published | differs node
-- caller  node at its start: before it registers, which only asks, so that a refused one leaves its sandboxes alone;
--         and after, so that of two that start at once one sees the other

for _, node in ipairs(call('ZRANGE', K.nodes, 0, -1)) do
  local other = load(K.node .. node, {'incarnation', 'dead', 'seen_at', 'profiles'})
  local is_live = not given(other.dead) and now - num(other.seen_at) < num(ARGV[4])
  local serves = given(other.profiles) and cjson.decode(other.profiles) or {}
  if node ~= ARGV[2] and is_live and serves.incarnation == other.incarnation and serves.digest ~= ARGV[5] then
    return {'differs', node}
  end
end
local own = load(K.node .. ARGV[2], {'incarnation'})
if own.incarnation ~= ARGV[3] then return {'published'} end
set(own, 'profiles', cjson.encode({incarnation = ARGV[3], digest = ARGV[5]}))
write('UNLINK', KEYS[1])
write('HSET', KEYS[1], unpack(ARGV, 6))
commit()
return {'published'}
