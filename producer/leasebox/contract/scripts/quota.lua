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

local PER_DAY = {{'cpu_s_per_day', 'cpu_s'}, {'bytes_per_day', 'bytes'}}

-- The first bound that is reached: its name, seconds until it makes sense to try again, the bound; nil if none is.
local function over_quota(tenant, is_new_session, is_submit)
  local limits, base = limits_of(tenant), K.tenant .. tenant
  if is_new_session and is_full(limits.sessions, base .. K.sessions) then return 'sessions', 1, limits.sessions end
  if not is_submit then return nil end
  if is_full(limits.queued, base .. K.queued) then return 'queued', 1, limits.queued end
  local per_minute = limits.submits_per_minute
  if type(per_minute) == 'number' and num(call('GET', minute_key(tenant))) >= per_minute then
    return 'submits_per_minute', 60 - now % 60, per_minute
  end
  for _, day in ipairs(PER_DAY) do
    local bound = limits[day[1]]
    if type(bound) == 'number' and num(call('HGET', usage_key(tenant), day[2])) >= bound then
      return day[1], DAY_S - now % DAY_S, bound
    end
  end
  return nil
end

-- A refusal, as scripts answer it; a number would lose its fraction on its way through Redis.
local function refused(which, retry_after, bound)
  return {'quota', which, tostring(retry_after), string.format('%.17g', bound)}
end

-- Count an accepted submit. Answers the bound of the minute, what is left of it and seconds until it begins anew; or ''.
local function count_submit(tenant)
  local bound = limits_of(tenant).submits_per_minute
  if type(bound) ~= 'number' then return '', '', '' end
  local key = minute_key(tenant)
  write('INCRBY', key, 1)
  write('EXPIRE', key, 120)
  return string.format('%.0f', bound), string.format('%.0f', bound - num(call('GET', key)) - 1), tostring(60 - now % 60)
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
