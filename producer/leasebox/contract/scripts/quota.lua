-- Quota: put after the prelude, before submit and open: what operator and tenant may do, and how a session begins.

-- What holds until the first node has published its settings; CONTRACT.md section 7.
local DEFAULTS = {idle_timeout_s = 1800, max_idle_timeout_s = 86400, max_age_s = 86400, queue_max_jobs = 100000}

local published = {}

local function allowed(name)
  if not published[name] then published[name] = tonumber(call('HGET', K.settings, name)) or DEFAULTS[name] end
  return published[name]
end

-- How long a session may live, '' = as long as the operator says. Beyond the operator's bound: the third answer.
local function session_times(idle_timeout_s, max_age_s)
  local idle_max, age_max = allowed('max_idle_timeout_s'), allowed('max_age_s')
  if num(idle_timeout_s) > idle_max then return nil, nil, {'beyond', 'idle_timeout_s', tostring(idle_max)} end
  if num(max_age_s) > age_max then return nil, nil, {'beyond', 'max_age_s', tostring(age_max)} end
  return given(idle_timeout_s) and idle_timeout_s or allowed('idle_timeout_s'), given(max_age_s) and max_age_s or age_max
end

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
    'close_reason', '', 'closed_at', '', 'generation', num(line.generation), 'created_at', NOW, 'used_at', NOW, 'age_from', NOW,
    'idle_timeout_s', idle_timeout_s, 'max_age_s', max_age_s, 'executions', 0, 'last_exit_code', '')
  write('PERSIST', line.key)
  write('SADD', K.tenant .. tenant .. K.sessions, line.id)
  write('ZADD', K.unbound, expires_at(line), line.id)
end
