-- Output: put after the prelude, before emit and settle.

-- Append chunks from ARGV[first] on: seq, type, data in turn. One that was appended before is skipped.
local function append(j, first)
  local key, claims, last = K.job .. j.id .. K.events, j.claims, num(j.seq)
  local appended = 0
  for i = first, #ARGV, 3 do
    local seq, kind = tonumber(ARGV[i]), ARGV[i + 1]
    if seq > last then
      local field = (kind == 'stdout' or kind == 'stderr') and 'data' or 'json'
      write('XADD', key, 'NOMKSTREAM', claims .. '-' .. ARGV[i], 'type', kind, 'at', NOW, field, ARGV[i + 2])
      last, appended = seq, appended + 1
    end
  end
  if appended == 0 then return end
  set(j, 'seq', last)
  write('PUBLISH', K.bell, j.id)
end

-- What counts against the tenant's day, if it has such bounds.
local function count_usage(j, cpu_s, bytes)
  local bounds = limits_of(j.tenant)
  if type(bounds.cpu_s_per_day) ~= 'number' and type(bounds.bytes_per_day) ~= 'number' then return end
  local key = K.tenant .. j.tenant .. K.usage .. math.floor(now / 86400)
  write('HINCRBYFLOAT', key, 'cpu_s', cpu_s)
  write('HINCRBYFLOAT', key, 'bytes', bytes)
  write('EXPIRE', key, 172800)
end
