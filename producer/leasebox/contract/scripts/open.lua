#!lua
-- open: make or find a session.
-- KEYS    1 the session
-- ARGV    2 line  3 tenant  4 profile or ''  5 idle_timeout_s or ''  6 max_age_s or ''  7 must exist ('1')
-- answer  created fields... | found fields... | profile_differs profile | expired reason | quota which retry_after bound
--         | beyond field bound
-- caller  client

local line = load_session(ARGV[2])
local is_live = line.state and line.state ~= 'closed'
if ARGV[7] == '1' and not is_live then return {'expired', line.close_reason or 'lost'} end
if ARGV[7] == '1' and given(line.closing) then return {'expired', line.close_reason or 'closed'} end
if is_live and ARGV[4] ~= '' and line.profile ~= ARGV[4] then return {'profile_differs', line.profile} end
local idle_timeout_s, max_age_s, beyond = session_times(ARGV[5], ARGV[6])
if beyond then return beyond end
if not is_live then
  local which, retry_after, bound = over_quota(ARGV[3], true, false)
  if which then return refused(which, retry_after, bound) end
  open_session(line, ARGV[3], ARGV[4] ~= '' and ARGV[4] or 'default', idle_timeout_s, max_age_s)
end
local pending = call('LLEN', line.pending)
commit()
return {is_live and 'found' or 'created', line.state, line.profile, line.node, num(line.generation),
  line.created_at, line.used_at, line.idle_timeout_s, line.max_age_s, pending, num(line.executions),
  line.last_exit_code or '', line.close_reason or '', line.age_from, line.lost_reason or ''}
