-- Quota: put after the prelude, before submit and open: what a tenant may do, and how a session begins.

local DAY_S = 86400

local function usage_key(tenant) return K.tenant .. tenant .. K.usage .. math.floor(now / DAY_S) end

local function minute_key(tenant) return K.tenant .. tenant .. K.submits .. math.floor(now / 60) end

-- The first bound that is reached, and seconds until it makes sense to try again; nil if none is.
local function over_quota(tenant, is_new_session, is_submit)
  local limits, base = limits_of(tenant), K.tenant .. tenant
  if is_new_session and is_full(limits.sessions, base .. K.sessions) then return 'sessions', 1 end
  if not is_submit then return nil end
  if is_full(limits.queued, base .. K.queued) then return 'queued', 1 end
  local per_minute = limits.submits_per_minute
  if type(per_minute) == 'number' and num(call('GET', minute_key(tenant))) >= per_minute then
    return 'submits_per_minute', 60 - now % 60
  end
  for name, field in pairs({cpu_s_per_day = 'cpu_s', bytes_per_day = 'bytes'}) do
    if type(limits[name]) == 'number' and num(call('HGET', usage_key(tenant), field)) >= limits[name] then
      return name, DAY_S - now % DAY_S
    end
  end
  return nil
end

local function count_submit(tenant)
  if type(limits_of(tenant).submits_per_minute) ~= 'number' then return end
  write('INCRBY', minute_key(tenant), 1)
  write('EXPIRE', minute_key(tenant), 120)
end

-- A session begins, or begins anew: its generation goes on, so that no old sandbox is taken for the new one's.
local function open_session(line, tenant, profile, idle_timeout_s, max_age_s)
  set(line, 'state', 'new', 'tenant', tenant, 'profile', profile, 'node', '', 'sandbox', '', 'closing', '',
    'close_reason', '', 'generation', num(line.generation), 'created_at', NOW, 'used_at', NOW, 'age_from', NOW,
    'idle_timeout_s', idle_timeout_s, 'max_age_s', max_age_s, 'executions', 0, 'last_exit_code', '')
  write('PERSIST', line.key)
  write('SADD', K.tenant .. tenant .. K.sessions, line.id)
  write('ZADD', K.unbound, expires_at(line), line.id)
end
