-- open_batch: a batch that has no job yet; submits that name it follow.
-- KEYS    1 the batch
-- ARGV    2 batch  3 tenant  4 name or ''  5 result_ttl_s
-- answer  opened | taken (it is another tenant's)
-- caller  client

local batch = load_batch(ARGV[2])
if batch.tenant then return {batch.tenant == ARGV[3] and 'opened' or 'taken'} end
set(batch, 'tenant', ARGV[3], 'name', ARGV[4], 'result_ttl_s', ARGV[5], 'created_at', NOW, 'total', 0, 'done', 0,
  'sealed', '', 'cancelled', '')
write('ZADD', K.batches, now, ARGV[2])
commit()
return {'opened'}
