#!lua flags=allow-oom
-- key_rotate: give an API key another secret; the earlier one is no longer good.
-- KEYS    1 the key's record
-- ARGV    2 digest of the new secret
-- answer  ok | gone       (gone: unknown or revoked)
-- caller  client (leasebox keys), API

local record = load(KEYS[1], {'digest', 'revoked_at'})
if not record.digest or given(record.revoked_at) then return {'gone'} end
if record.digest ~= ARGV[2] then
  set(record, 'digest', ARGV[2], 'rotated_at', NOW)
  commit()
end
return {'ok'}
