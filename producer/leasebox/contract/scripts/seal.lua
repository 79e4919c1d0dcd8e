#!lua flags=allow-oom
-- seal: no job comes to a batch any more; it is finished when all its jobs are.
-- KEYS    1 the batch
-- ARGV    2 batch  3 tenant or '' (reaper)
-- answer  sealed total done | gone
-- caller  client; reaper 1 h after the last submit

local batch = load_batch(ARGV[2])
if not batch.tenant or (ARGV[3] ~= '' and batch.tenant ~= ARGV[3]) then return {'gone'} end
if batch.sealed ~= '1' then
  set(batch, 'sealed', '1')
  write('ZREM', K.batches, ARGV[2])
  if num(batch.done) >= num(batch.total) then end_batch(ARGV[2], batch) end
  commit()
end
return {'sealed', num(batch.total), num(batch.done)}
