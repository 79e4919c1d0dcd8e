#!lua flags=allow-oom
-- audit: put entries behind the last one of the audit chain, and cut off what is beyond its bound.
-- KEYS    1 the chain  2 its head
-- ARGV    2 number of the entry that the caller takes for the last  3 its hash, or ''  4 how many entries are kept
--         5... text and hash of each new entry in turn, at most as many as are kept
-- answer  ok | moved number hash       (moved: this one is the last; make the hashes anew and ask again)
-- caller  leasebox keys, API, node

local function hash_at(n)
  local found = call('XRANGE', KEYS[1], n .. '-0', n .. '-0')
  return found[1] and found[1][2][4] or ''
end

local head = load(KEYS[2], {'n', 'hash', 'cut_n'})
local n, hash = num(head.n), head.hash or ''
local last = call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
local last_n = last and tonumber(string.match(last[1], '^%d+')) or 0
if last_n > n then n, hash = last_n, last[2][4] end             -- the head is gone: go on all the same, verify will tell

local top = ARGV[2] + (#ARGV - 4) / 2
if n >= top and hash_at(top) == ARGV[#ARGV] then return {'ok'} end   -- called again
if n ~= num(ARGV[2]) or hash ~= ARGV[3] then return {'moved', n, hash} end

for i = 5, #ARGV, 2 do
  n = n + 1
  write('XADD', KEYS[1], n .. '-0', 'json', ARGV[i], 'hash', ARGV[i + 1])
end
set(head, 'n', n, 'hash', ARGV[#ARGV])
local cut = n - ARGV[4]
if cut > num(head.cut_n) then
  set(head, 'cut_n', cut, 'cut_hash', hash_at(cut))
  write('XTRIM', KEYS[1], 'MINID', (cut + 1) .. '-0')
end
commit()
return {'ok'}
