-- Shown: put after the prelude, before the scripts that only look: what people and Prometheus are told of records.

local OF_JOB = {
  'state', 'outcome', 'queue', 'session', 'node', 'runs', 'started_at', 'cancel_requested', 'profile', 'priority',
}
local OF_NODE = {'driver', 'slots', 'busy', 'draining', 'paused', 'dead', 'seen_at'}

-- Both lists of names.
local function with(fields, more)
  local all = {unpack(fields)}
  for _, name in ipairs(more) do all[#all + 1] = name end
  return all
end

-- The fields of a record that are given, by name.
local function shown(key, fields)
  local values, found = call('HMGET', key, unpack(fields)), {}
  for i = 1, #fields do
    if given(values[i]) then found[fields[i]] = values[i] end
  end
  return found
end

-- Of a queue the wake-ups that nobody has taken, and the lines that wait.
local function depth(queue) return call('LLEN', queue), call('ZCARD', K.queue .. queue .. K.waiting) end

-- Jobs of a class that have not started, wherever they wait; `queue` is the class's shared one.
local function queued(queue) return call('SCARD', K.queue .. queue .. K.queued) end
