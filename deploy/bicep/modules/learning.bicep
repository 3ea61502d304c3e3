// One Azure ML workspace with what it needs for itself: storage, a vault, insights and a container registry.
// `identityId` is the identity that Spark jobs run as (`identity: managed`), `memberIds` all that may run jobs in it,
// `serverId` that of an endpoint, or empty;
// operators (a group) may be named too, and are not in production.
param location string
param prefix string
param logsId string
param memberIds array
param identityId string
param serverId string
param operatorsObjectId string
param tags object

var roles = loadJsonContent('../roles.json')
var unique = uniqueString(resourceGroup().id)

resource storage 'Microsoft.Storage/storageAccounts@2023-05-01' = {
  name: take('${prefix}ml${unique}', 24)
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: {
    name: 'Standard_LRS'
  }
  properties: {
    allowBlobPublicAccess: false
    allowSharedKeyAccess: false
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
  }
}

resource vault 'Microsoft.KeyVault/vaults@2023-07-01' = {
  name: take('${prefix}-${unique}', 24)
  location: location
  tags: tags
  properties: {
    tenantId: tenant().tenantId
    sku: {
      family: 'A'
      name: 'standard'
    }
    enableRbacAuthorization: true
    enablePurgeProtection: true
  }
}

resource insights 'Microsoft.Insights/components@2020-02-02' = {
  name: '${prefix}-insights'
  location: location
  tags: tags
  kind: 'web'
  properties: {
    Application_Type: 'web'
    WorkspaceResourceId: logsId
  }
}

resource images 'Microsoft.ContainerRegistry/registries@2023-07-01' = {
  name: take('${prefix}acr${unique}', 50)
  location: location
  tags: tags
  sku: {
    name: 'Standard'
  }
  properties: {
    adminUserEnabled: false
  }
}

resource workspace 'Microsoft.MachineLearningServices/workspaces@2024-10-01' = {
  name: '${prefix}-ml'
  location: location
  tags: tags
  kind: 'Default'
  sku: {
    name: 'Basic'
    tier: 'Basic'
  }
  identity: {
    type: 'SystemAssigned,UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    friendlyName: '${prefix}-ml'
    storageAccount: storage.id
    keyVault: vault.id
    applicationInsights: insights.id
    containerRegistry: images.id
    systemDatastoresAuthMode: 'identity'
    publicNetworkAccess: 'Enabled'
  }
}

// For fits without Spark (deploy/azureml/parallel_pipeline.yml); it costs nothing while it has no nodes.
resource cpu 'Microsoft.MachineLearningServices/workspaces/computes@2024-10-01' = {
  parent: workspace
  name: 'cpu'
  location: location
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    computeType: 'AmlCompute'
    properties: {
      vmSize: 'Standard_D4ds_v5'
      scaleSettings: {
        minNodeCount: 0
        maxNodeCount: 4
        nodeIdleTimeBeforeScaleDown: 'PT10M'
      }
      remoteLoginPortPublicAccess: 'Disabled'
    }
  }
}

resource members 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for id in memberIds: {
  name: guid(workspace.id, id, 'AzureML Data Scientist')
  scope: workspace
  properties: {
    principalId: id
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['AzureML Data Scientist'])
  }
}]

resource operators 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(operatorsObjectId)) {
  name: guid(workspace.id, operatorsObjectId, 'AzureML Data Scientist')
  scope: workspace
  properties: {
    principalId: operatorsObjectId
    principalType: 'Group'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['AzureML Data Scientist'])
  }
}

// Jobs read and write the workspace's own blobs (code, outputs) by their identity, since the account takes no keys.
resource blobs 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for id in memberIds: {
  name: guid(storage.id, id, 'Storage Blob Data Contributor')
  scope: storage
  properties: {
    principalId: id
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Storage Blob Data Contributor'])
  }
}]

// The endpoint's identity fetches its image and the scoring script; what it reads else is in access.bicep.
var pullers = filter(concat(memberIds, [serverId]), id => !empty(id))

resource script 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(serverId)) {
  name: guid(storage.id, serverId, 'Storage Blob Data Reader')
  scope: storage
  properties: {
    principalId: serverId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Storage Blob Data Reader'])
  }
}

resource pull 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for id in pullers: {
  name: guid(images.id, id, 'AcrPull')
  scope: images
  properties: {
    principalId: id
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.AcrPull)
  }
}]

output id string = workspace.id
output name string = workspace.name
output principalId string = workspace.identity.principalId
