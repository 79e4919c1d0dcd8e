#!lua flags=allow-oom
-- resend: wake lines of a queue again whose wake-up is missing. A queue is first in, first out: a line that was woken
-- before the oldest message in the list was sent has no message there any more.
-- KEYS    1 the queue
-- ARGV    2 queue  3 grace_s
-- answer  how many
-- caller  reaper, 5 s

local queue, before = ARGV[2], now - ARGV[3]
local oldest = call('LINDEX', queue, -1)
if oldest then
  local stamp = string.match(oldest, '"delivery_tag":%s*"[^"]*%.(%d+)"')
  if not stamp then return 0 end                  -- not ours: whoever takes it makes the list tell the truth again
  before = math.min(before, tonumber(stamp) / 1000000)
end
local missing = call('ZRANGEBYSCORE', K.queue .. queue .. K.waiting, '-inf', '(' .. string.format('%.17g', before),
  'LIMIT', 0, BOUND)
for _, id in ipairs(missing) do
  local is_job = call('EXISTS', K.job .. id) == 1
  local line = is_job and line_of(load_job(id)) or load_session(id)
  if not head_of(line) or rouse(line) == '' then write('ZREM', K.queue .. queue .. K.waiting, id) end
end
commit()
return #missing
