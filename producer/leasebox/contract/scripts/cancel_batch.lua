#!lua flags=allow-oom
-- cancel_batch: cancel the jobs of a batch, 64 at a time; it takes no further job.
-- KEYS    1 the batch
-- ARGV    2 batch  3 tenant  4 endings  5 from which place in the batch
-- answer  ok next_place ('' when done) | gone
-- caller  client

local batch = load_batch(ARGV[2])
if not batch.tenant or batch.tenant ~= ARGV[3] then return {'gone'} end
if batch.cancelled ~= '1' then set(batch, 'cancelled', '1') end
local from, touched = num(ARGV[5]), {}
local ids = call('LRANGE', batch.key .. K.jobs, from, from + BOUND - 1)
for _, id in ipairs(ids) do
  local j = load_job(id)
  if j.state == 'queued' then
    finish(j, made(ARGV[4], j, 'cancelled', 'batch_cancelled'))
    local line = line_of(j)
    touched[#touched + 1] = line
  elseif j.state and j.state ~= 'finished' then
    request_cancel(j)
  end
end
local roused = {}
for _, line in ipairs(touched) do
  if not roused[line.id] then rouse(line) end
  roused[line.id] = true
end
commit()
return {'ok', #ids == BOUND and tostring(from + BOUND) or ''}
