-- Orthanc sends every complete series that Diaphane may have a model for to Diaphane.
-- Copy it beside orthanc.json, which names it under LuaScripts and knows Diaphane under DicomModalities and DicomWeb.

local WAY = 'dimse'  -- or 'stow': by DICOMweb instead of C-STORE
local MODALITIES = { DX = true, CR = true, MR = true }
local STATION = 'DIAPHANE'  -- [device] station of Diaphane's site file: what it made is not sent back to it

local PATHS = {
  dimse = '/modalities/diaphane/store',
  stow = '/dicom-web/servers/diaphane/stow',
}

-- Called when a series has had no new image for StableAge seconds; again when a late image came after that.
-- RestApiPost, because SendToModality of Orthanc 1.10.1 (Debian 12) fails with "Unable to read attachment".
function OnStableSeries(series, tags, metadata)
  if MODALITIES[tags['Modality']] and tags['StationName'] ~= STATION then
    RestApiPost(PATHS[WAY], '{"Resources":["' .. series .. '"],"Synchronous":false}')
  end
end
