-- open_batch: a batch that has no job yet; submits that name it follow. Of one that is open already: it still has its
-- client, so the reaper does not seal it.
-- KEYS    1 the batch
-- ARGV    2 batch  3 tenant  4 name or ''  5 result_ttl_s  6 callback_url or ''
-- answer  opened | taken (it is another tenant's)
-- caller  client

local batch = load_batch(ARGV[2])
if batch.tenant and batch.tenant ~= ARGV[3] then return {'taken'} end
if not batch.tenant then
  set(batch, 'tenant', ARGV[3], 'name', ARGV[4], 'result_ttl_s', ARGV[5], 'created_at', NOW, 'total', 0, 'done', 0,
    'sealed', '', 'cancelled', '', 'callback', ARGV[6] ~= '' and '1' or '', 'callback_url', ARGV[6])
end
if batch.sealed ~= '1' then write('ZADD', K.batches, now, ARGV[2]) end
commit()
return {'opened'}
